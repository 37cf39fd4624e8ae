# pool: filled in below
