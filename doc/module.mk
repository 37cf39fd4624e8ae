# Normative documents.
EXTRA_DIST += \
	%D%/process-model.md \
	%D%/states.md \
	%D%/wire.md
