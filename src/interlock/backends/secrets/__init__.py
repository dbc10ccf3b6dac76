"""Secrets sealed by AES-256-GCM, with keys from a setting or from a private file."""
