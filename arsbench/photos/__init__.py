"""One's own photos: faces protected at the manipulators' size, the noise enlarged onto the untouched original."""
