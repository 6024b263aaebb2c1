// Package dashboard is the daemon's web pages: what this peer knows of the cluster, its
// keys, tasks, workers, queues, locks and conflicts, read-only. The server renders all
// of it, charts too; a page is complete without JavaScript, and with it follows one
// stream of server-sent events.
//
//	I1  Nothing is shown but what the grant of the request covers.
//	I2  Keys, values and names are hostile: they reach a page only through html/template,
//	    and the content security policy forbids any script or style but the embedded ones.
//	I3  A page shows at most 100 rows, and a value at most 256 KiB.
//	I4  An open page renders at most once a second and takes at most a twentieth of a
//	    core; all keys are walked at most five times a second and for a fiftieth of one, however
//	    many pages are open, and not at all while nothing changes or nobody looks.
package dashboard
