package mcpserver

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// tool is one tool. Its schema is for callers; their arguments are read more liberally. A schema
// has no anyOf or the like at its top, which the interfaces of some models refuse.
type tool struct {
	name        string
	description string
	schema      json.RawMessage
	run         func(c *call) (fields, error)
	reads       bool // it changes nothing
	v2, v3      bool // it is one of claude-flow 2.x or 3.x; if both are false, it is always there
	accepted    []string
}

func (t *tool) annotations() *mcp.ToolAnnotations {
	closed := false
	return &mcp.ToolAnnotations{ReadOnlyHint: t.reads, OpenWorldHint: &closed}
}

// known returns the arguments that the tool takes.
func (t *tool) known() []string {
	var schema struct{ Properties map[string]any }
	_ = json.Unmarshal(t.schema, &schema) // a test checks that all schemas are valid
	return append(slices.Collect(maps.Keys(schema.Properties)), t.accepted...)
}

func object(properties string, required ...string) json.RawMessage {
	list, _ := json.Marshal(append([]string{}, required...)) // strings always encode
	return json.RawMessage(`{"type":"object","properties":{` + properties + `},"required":` + string(list) + `}`)
}

const (
	namespaceArg = `"namespace":{"type":"string","default":"default"}`
	keyArg       = `"key":{"type":"string","maxLength":1000}`
	pageArgs     = `"limit":{"type":"number"},"cursor":{"type":"string","description":"next_cursor of the previous answer"}`
	valuesArg    = `"values":{"type":"boolean","default":true,"description":"false: names only"}`
	partArgs     = `"path":{"type":"string","description":"retrieve one field of an object, /a/b"},"has":{"description":"retrieve whether a set has this element"},"len":{"type":"boolean","description":"retrieve the number of elements of a set"}`
	ttlArg       = `"ttl":{"type":"number","minimum":0,"description":"seconds; 0 = never expires"}`
	queueArg     = `"queue":{"type":"string","default":"tasks"}`
	waitArg      = `"wait_s":{"type":"number","default":0,"maximum":25}`
)

var tools = []tool{
	{name: "memory_usage", v2: true, run: memoryUsage, accepted: []string{"pattern", "query"},
		description: "Store/retrieve persistent memory with TTL and namespacing, shared with all agents of the fleet. store replaces the value; expire sets its ttl alone; list shows the newest first; retrieve with limit shows a page of a set or an object; search finds text (passed as value) in keys and values",
		schema: object(`"action":{"type":"string","enum":["store","retrieve","list","delete","expire","search"]},`+keyArg+`,
			"value":{"description":"text or any JSON"},`+namespaceArg+`,`+ttlArg+`,
			"if_version":{"type":"string","description":"write only if the key still has this version (from an earlier answer); \"0\": only if the key does not exist"},
			"type":{"type":"string","enum":["register","set","counter","max","object"],"description":"how concurrent writes merge; default register, where the last write wins; a counter adds"},
			`+partArgs+`,`+pageArgs+`,`+valuesArg, "action")},
	{name: "memory_search", run: memorySearch, reads: true, accepted: []string{"value"},
		description: "Find memory by words in its key or value, in any case; * stands for any text. Keys with the most words come first. Without namespace, all namespaces are searched",
		schema:      object(`"pattern":{"type":"string"},"query":{"type":"string","description":"same as pattern"},"namespace":{"type":"string"},"limit":{"type":"number","default":10},"cursor":{"type":"string"},` + valuesArg)},
	{name: "memory_watch", run: memoryWatch, reads: true,
		description: "Wait until others write or delete memory, and return what changed. Pass next of the answer as since of the next call to miss nothing in between",
		schema:      object(namespaceArg + `,"prefix":{"type":"string","description":"only keys that begin with this"},"since":{"type":"string"},"timeout_s":{"type":"number","default":20,"maximum":25}`)},
	{name: "memory_store", v3: true, run: memoryStore, accepted: []string{"provenance_type"},
		description: "Store a value in memory shared with all agents of the fleet",
		schema:      object(keyArg+`,"value":{"description":"text or any JSON"},`+namespaceArg+`,`+ttlArg+`,"upsert":{"type":"boolean","default":true,"description":"false: store only if the key does not exist"},"tags":{"type":"array","items":{"type":"string"}},"if_version":{"type":"string"},"type":{"type":"string"}`, "key", "value")},
	{name: "memory_retrieve", v3: true, run: memoryRetrieve, reads: true,
		description: "Retrieve a value from memory",
		schema:      object(keyArg+`,`+namespaceArg+`,`+partArgs+`,"limit":{"type":"number","description":"a page of a set or an object"},"cursor":{"type":"string"}`, "key")},
	{name: "memory_list", v3: true, run: memoryList, reads: true,
		description: "List keys of memory, newest first. Without namespace, all namespaces are listed",
		schema:      object(`"namespace":{"type":"string"},"limit":{"type":"number","default":50},"offset":{"type":"number","default":0}`)},
	{name: "memory_delete", v3: true, run: memoryDelete,
		description: "Delete a key from memory",
		schema:      object(keyArg+`,`+namespaceArg+`,"if_version":{"type":"string"}`, "key")},
	{name: "task_add", run: taskAdd,
		description: "Add a task to a queue, for one agent of the fleet to claim",
		schema:      object(queueArg+`,"value":{"description":"what to do: text or any JSON"},"id":{"type":"string","description":"a task with this id is added only once, however often you call"},"priority":{"type":"number"},"delay_s":{"type":"number"},"max_attempts":{"type":"number"}`, "value")},
	{name: "task_claim", run: taskClaim,
		description: "Claim the next task of a queue. No other agent has it until you call task_complete with its claim. Call task_progress with the claim within hold_s, or another agent gets the task",
		schema:      object(queueArg + `,` + waitArg + `,"hold_s":{"type":"number","default":600,"maximum":3600}`)},
	{name: "task_complete", run: taskComplete, accepted: []string{"taskId"},
		description: "Finish a task that you claimed, by its claim or id: with a result, or with error to have it tried again",
		schema:      object(`"claim":{"type":"string"},"task":{"type":"string"},"result":{},"error":{"type":"string"},"retry":{"type":"boolean","default":true}`)},
	{name: "task_progress", run: taskProgress,
		description: "Report the progress of a task, and keep its claim for another hold_s",
		schema:      object(`"task":{"type":"string"},"progress":{"type":"number","minimum":0,"maximum":100,"description":"0 to 1; a number over 1 is a percentage"},"percent":{"type":"number","minimum":0,"maximum":100},"status":{"type":"string"},"claim":{"type":"string"},"hold_s":{"type":"number"}`, "task")},
	{name: "task_list", run: taskList, reads: true, accepted: []string{"taskId"},
		description: "List a queue's tasks with state, progress, and result or error; or show one task by its id",
		schema:      object(queueArg + `,"task":{"type":"string"},"state":{"type":"string","enum":["pending","delayed","claimed","done","dead"]},` + pageArgs + `,` + valuesArg)},
	{name: "lock_acquire", run: lockAcquire,
		description: "Acquire a lock that only one agent of the fleet holds at a time, or renew it by its lease. It ends after hold_s unless renewed. guarantee this-peer: it excludes only agents of this daemon; best-effort: the two sides of a network partition may both hold it",
		schema:      object(`"name":{"type":"string"},`+waitArg+`,"hold_s":{"type":"number","default":120,"maximum":3600},"shared":{"type":"boolean","default":false,"description":"share the lock with others that pass shared"},"lease":{"type":"string","description":"the lease to renew"}`, "name")},
	{name: "lock_release", run: lockRelease,
		description: "Release a lock",
		schema:      object(`"name":{"type":"string"},"lease":{"type":"string"}`, "name", "lease")},
	{name: "worker_list", run: workerList, reads: true,
		description: "List the fleet's workers: their state, what they do, and for how many more tasks they have room",
		schema:      object(`"state":{"type":"string","enum":["active","unreachable","gone"]},"free":{"type":"number"},"label":{"type":"string"},"cursor":{"type":"string"}`)},
	{name: "agent_coordinate", run: agentCoordinate,
		description: "Tell the other agents of a task about your part (data is merged into what you told before), and see what they told",
		schema:      object(`"task":{"type":"string"},"agent":{"type":"string","description":"your name"},"data":{"type":"object","description":"for example role, status, progress, needs, output"},"cursor":{"type":"string"}`, "task")},
	{name: "cluster_status", run: clusterStatus, reads: true,
		description: "Show the peers of the cluster, whether all is well and if not what to do, and the namespaces and queues",
		schema:      object(`"cursor":{"type":"string"}`)},
}
