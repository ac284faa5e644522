// Package archtest holds no code: its tests hold the rules of the repository
// that a compiler does not. Which package may import which, what every package
// and file has to have, and what must not be in the tree.
//
// The rules stand in one table, rules_test.go. A test that fails here says
// which line breaks which rule, and the rule says why it exists.
package archtest
