// Package fence tests what every guard of lockservice/fence refuses, those in a database
// among them.
package fence
