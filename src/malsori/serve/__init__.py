"""The server: OpenAI's speech routes over the same doors as the command line, for any client (extra `serve`)."""
