package httpapi

import "github.com/prometheus/client_golang/prometheus"

// DoorStatus is what came in by a protocol's door since the start. Rows are
// pending from the moment in which their commit begins until it is answered.
type DoorStatus struct {
	Name           string  `json:"name"` // "pg", "http" or "mysql", as in "listen"
	Address        string  `json:"address"`
	Rows           uint64  `json:"rows"`            // stored
	Bytes          int64   `json:"bytes"`           // of them, as they are stored
	Refused        uint64  `json:"refused"`         // rows that were refused, each with an error to its client
	PendingBytes   int64   `json:"pending_bytes"`   // of rows that are being stored and not answered yet
	PendingSeconds float64 `json:"pending_seconds"` // for how long the oldest of them is waiting; 0: there is none
}

var (
	perDoor = []string{"door"}

	descDoorRows    = desc("door_rows_total", "Rows stored that came in by the door since the start.", perDoor)
	descDoorBytes   = desc("door_bytes_total", "Bytes of these rows, as they are stored.", perDoor)
	descDoorRefused = desc("door_refused_rows_total", "Rows that the door refused since the start.", perDoor)
	descDoorPending = desc("door_pending_bytes", "Bytes of rows that are being stored and not answered yet.", perDoor)
	descDoorLag     = desc("door_pending_seconds", "For how long the oldest of them is waiting.", perDoor)
)

// collectDoors sends the numbers of doors.
func collectDoors(all []DoorStatus, out chan<- prometheus.Metric) {
	for _, d := range all {
		one := samples{out, []string{d.Name}}
		one.total(descDoorRows, d.Rows)
		one.total(descDoorBytes, uint64(d.Bytes))
		one.total(descDoorRefused, d.Refused)
		one.gauge(descDoorPending, float64(d.PendingBytes))
		one.gauge(descDoorLag, d.PendingSeconds)
	}
}
