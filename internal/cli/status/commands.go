package status

import (
	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

// Commands returns the commands of this package, which send their requests by c.
func Commands(c *client.Client) []*cobra.Command {
	return []*cobra.Command{newStatus(c), newTop(c), newMembers(c), newStats(c), newForget(c)}
}
