"""Governing schemas: which may be registered, who writes with which, and which may go."""
