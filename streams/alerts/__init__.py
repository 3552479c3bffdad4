"""Cases as alerts in Prometheus' Alertmanager."""
