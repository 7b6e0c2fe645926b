#!/usr/bin/env bash
# Installs what tests/platforms runs on and this machine lacks: from npm the runtimes, drivers and bundlers; from apt, where that is allowed, the browsers.
# Whatever cannot be had is reported as missing by the tests.
set -euo pipefail
cd "$(dirname "$0")"

npm install --no-audit --no-fund --loglevel=error

missing=()
command -v chromium || command -v google-chrome || missing+=(chromium)
command -v firefox-esr || command -v firefox || missing+=(firefox-esr)
command -v WebKitWebDriver && command -v xvfb-run || missing+=(webkit2gtk-driver xvfb xauth)
if [ ${#missing[@]} -gt 0 ] && command -v apt-get; then
  as_root=""
  [ "$(id -u)" -eq 0 ] || as_root="sudo -n"
  $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" || echo "apt could not install ${missing[*]}"
fi
