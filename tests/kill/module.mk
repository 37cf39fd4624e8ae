# Death tests: they link libtine.la, so that the exports are proven too.
