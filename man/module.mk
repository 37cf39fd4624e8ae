# Section 7 is written by hand; section 3 is made from the public headers, a page for each function
# and each header, so their names are known only when they are made.
dist_man_MANS = %D%/tine.7
EXTRA_DIST += %D%/mkman.awk

# The day of the last change to the interface, for the pages' foot; see the release checklist.
MAN_DATE = November 21, 2026

man_headers = $(include_HEADERS) $(tineinclude_HEADERS) $(nodist_tineinclude_HEADERS)

%D%/man3.stamp: $(man_headers) %D%/mkman.awk Makefile
	$(AM_V_GEN)rm -rf %D%/man3 && $(MKDIR_P) %D%/man3 && \
	for header in $(man_headers); do \
		test -f $$header || header=$(srcdir)/$$header; \
		LC_ALL=C $(AWK) -v header=$${header##*lib/include/} -v version=$(VERSION) \
			-v date='$(MAN_DATE)' -v to=%D%/man3 \
			-f $(srcdir)/%D%/mkman.awk $$header || exit 1; \
	done && \
	touch $@

noinst_DATA = %D%/man3.stamp
CLEANFILES += %D%/man3.stamp

install-data-local: install-man3-pages
install-man3-pages: %D%/man3.stamp
	$(MKDIR_P) $(DESTDIR)$(mandir)/man3
	$(INSTALL_DATA) %D%/man3/*.3 $(DESTDIR)$(mandir)/man3

uninstall-local: uninstall-man3-pages
uninstall-man3-pages: %D%/man3.stamp
	for page in %D%/man3/*.3; do rm -f $(DESTDIR)$(mandir)/man3/$${page##*/}; done

clean-local: clean-man3-pages
clean-man3-pages:
	rm -rf %D%/man3

.PHONY: install-man3-pages uninstall-man3-pages clean-man3-pages
