"""The tempo door: sessions of flows, their events, their blackboards, and the registry, for clients of that family."""
