"""Small things that would fit any product: clock, ids, strict JSON, backoff, paging. Knows no product noun."""
