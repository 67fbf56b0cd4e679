// the release
