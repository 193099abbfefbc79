"""How the open track's manipulators are trained, one file each."""
