dnl TINE_PROBE_CFLAG(FLAG): append FLAG to TINE_CFLAGS where the compiler takes it.
AC_DEFUN([TINE_PROBE_CFLAG], [
  AC_MSG_CHECKING([whether $CC accepts $1])
  tine_saved_cflags=$CFLAGS
  CFLAGS="$CFLAGS -Werror $1"
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
    [AC_MSG_RESULT([yes]); TINE_CFLAGS="$TINE_CFLAGS $1"],
    [AC_MSG_RESULT([no])])
  CFLAGS=$tine_saved_cflags
])

dnl TINE_PROBE_LDFLAG(FLAG): append FLAG to TINE_LDFLAGS where the linker takes it.
AC_DEFUN([TINE_PROBE_LDFLAG], [
  AC_MSG_CHECKING([whether the linker accepts $1])
  tine_saved_ldflags=$LDFLAGS
  LDFLAGS="$LDFLAGS -Werror $1"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
    [AC_MSG_RESULT([yes]); TINE_LDFLAGS="$TINE_LDFLAGS $1"],
    [AC_MSG_RESULT([no])])
  LDFLAGS=$tine_saved_ldflags
])
