// Command openapi prints the document that daemons serve as /v1/openapi.json, for the
// linter and the compiler beside it.
package main
