"""From public originals and own photos to data folders."""
