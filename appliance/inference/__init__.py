"""Running models: the manifest, the engines, their comparison, and the fallback to the CPU."""
