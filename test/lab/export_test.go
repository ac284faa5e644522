package lab

// Shared is the lab of all tests, for those outside of the package.
func Shared() *Lab { return shared }
