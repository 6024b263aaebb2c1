package data

import (
	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

// Commands returns the commands of this package, which send their requests by c.
func Commands(c *client.Client) []*cobra.Command {
	return []*cobra.Command{newGet(c), newPut(c), newDelete(c), newExpire(c), newPersist(c), newKeys(c), newWatch(c), newSet(c), newCounter(c), newConflicts(c), newTask(c), newWorker(c), newQueue(c), newLocks(c)}
}
