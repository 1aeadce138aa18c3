"""A stand-in for NVIDIA's package Jetson, of which only GPIO is used."""
