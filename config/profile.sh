# SPDX-License-Identifier: Apache-2.0
# For /etc/profile.d/ds01.sh: shows at login what ds01 told the user while they had no terminal. ds01ctl waits two
# seconds at most and says nothing where there is nothing to say.
# shellcheck shell=sh
case $- in
  *i*)
    if command -v ds01ctl >/dev/null 2>&1; then
      ds01ctl whoami --notices </dev/null 2>/dev/null || :
    fi
    ;;
esac
