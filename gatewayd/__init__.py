"""gatewayd: a self-hosted server for LangGraph agents on one box."""

__version__ = "0.1.0"
