"""The model gateway in OpenAI's vocabulary: any client of theirs works with our base URL."""
