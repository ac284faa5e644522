// Package program holds what every run of another program needs: a process
// group that ends with it, and a bound on what it prints.
package program
