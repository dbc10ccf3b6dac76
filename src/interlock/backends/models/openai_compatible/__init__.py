"""Any server that speaks OpenAI's HTTP language: DashScope, OpenAI, vLLM, Ollama and many more."""
