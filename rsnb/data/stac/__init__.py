"""The Earth-observation hub: search of open STAC catalogues, assets by common name, windowed reads, dated stacks."""
