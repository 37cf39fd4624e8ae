# Normative documents.
EXTRA_DIST += \
	%D%/locking.md \
	%D%/process-model.md \
	%D%/shm-layout.md \
	%D%/states.md \
	%D%/wire.md
