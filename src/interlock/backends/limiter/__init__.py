"""Windows of requests behind ``ports/limiter``: of this process, or shared through Redis."""
