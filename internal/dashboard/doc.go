// Package dashboard is the daemon's web pages. They show, read-only, what this peer knows of the
// cluster, its keys, tasks, workers, queues, locks and conflicts. The server renders everything,
// charts too. A page is complete without JavaScript; with it, the page follows one stream of
// server-sent events.
//
//	I1  A page shows only what the grant of the request covers.
//	I2  Keys, values and names are hostile: they reach a page only through html/template, and the
//	    content security policy forbids any script or style but the embedded ones.
//	I3  A page shows at most 100 rows, and at most 256 KiB of a value.
//	I4  An open page renders at most once a second, and uses at most a twentieth of a core. The keys
//	    are walked at most five times a second, for at most a fiftieth of the time, however many
//	    pages are open; and not at all while nothing changes or no page is open.
package dashboard
