# shm: filled in below
