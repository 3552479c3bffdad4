"""Answers over HTTP: the door for events, the API, feeds, health."""
