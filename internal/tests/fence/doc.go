// Package fence tests that every guard of lockservice/fence refuses stale tokens, also the
// guards in a database.
package fence
