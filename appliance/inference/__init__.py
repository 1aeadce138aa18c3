"""Running models: manifest, engines, fallback to the CPU, ranking, parity, compiled models."""
