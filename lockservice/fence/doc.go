// Package fence keeps out holders that have lost their lock without knowing it.
//
// A lease cannot stop a process that was paused from writing once it wakes up. The
// resource can: it remembers the highest fencing token it has seen and refuses a
// lower one. Of two holders of a lock the later has the higher token, so after its
// first write no earlier holder gets through.
//
//	[Memory]  one process that owns the resource
//	[SQL]     rows of a database, in the transaction of the write itself
//	[File]    files that several processes of one machine write
//
// A check on its own leaves a gap, since the writer may be paused between the check and the
// write. To close it, write inside Memory.Do or File.Do, or in the transaction in which
// SQL.Check runs.
//
// The same token passes any number of times, for a holder writes more than once.
// Tokens of different locks are not comparable: name the resource after the lock.
//
// The idea is that of Chubby's sequencers (Burrows 2006).
package fence
