// Command openapi prints the document that daemons serve as /v1/openapi.json, for the linter and
// the client generator that the Makefile runs on it.
package main
