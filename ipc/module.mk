# ipc: filled in below
