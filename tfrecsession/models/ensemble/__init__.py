"""Ensembles: models made of fitted models."""
