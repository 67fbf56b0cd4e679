module Tester; end
