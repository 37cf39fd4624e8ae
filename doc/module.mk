# doc: filled in below
