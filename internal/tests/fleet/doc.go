// Package fleet tests the program as users run it: real processes, on loopback and in
// network namespaces.
package fleet
