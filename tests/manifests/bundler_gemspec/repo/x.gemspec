require_relative 'lib/x/version'
require 'x/name'
spec.files = `git ls-files`.split
