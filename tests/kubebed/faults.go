package main

// Troubles that a test asks for through annotations of a pod, each a duration such as 5s:
//
//	kubebed/pull                 the image takes that long to come; or `backoff`: it never comes
//	                             (ErrImagePull, ImagePullBackOff) while the annotation is there
//	kubebed/start-delay          ContainerCreating lasts that long
//	kubebed/crash-after          the first container is killed (exit code 137, reason Error)
//	kubebed/oom-after            the same with reason OOMKilled
//	kubebed/evict-after          the pod is evicted (phase Failed, reason Evicted)
//	kubebed/shutdown-after       the node shuts down (phase Failed, reason Terminated)
//	kubebed/node-lost-after      the processes die, nothing is reported any more, deletion hangs
//	kubebed/stuck-terminating    the pod's object stays that long after its processes have ended
//
// Durations of troubles that hit a running container count from its start, or from when the
// annotation is put on a pod that runs already: `0s` there is at once.
//
// What the cluster itself refuses or delays needs no annotation: ask for more than a node has, for
// a label that no node has, for more than a quota allows. A webhook refuses pods annotated
// kubebed/deny, see kubelet.go.

import (
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
)

const (
	faultPrefix      = "kubebed/"
	faultPull        = "pull"
	faultStartDelay  = "start-delay"
	faultStuck       = "stuck-terminating"
	pullNeverArrives = "backoff"
)

// ends are the ways in which a node ends a whole pod: reason and message of its status.
var ends = map[string]string{
	"Evicted":    "The node was low on resource: memory. ",
	"Terminated": "Pod was terminated in response to imminent node shutdown.",
}

// hits are the faults of a running pod.
var hits = map[string]func(*podRun){
	"crash-after": func(p *podRun) { p.kill("") },
	"oom-after":   func(p *podRun) { p.kill("OOMKilled") },
	"evict-after": func(p *podRun) {
		p.events.Event(p.pod, v1.EventTypeWarning, "Evicted", ends["Evicted"])
		p.end("Evicted")
	},
	"shutdown-after":  func(p *podRun) { p.end("Terminated") },
	"node-lost-after": func(p *podRun) { p.gone.Store(true); p.kill("") },
}

// faults are what is asked for, and which of it is under way. Guarded by the run's lock.
type faults struct {
	asked map[string]string // by annotation
	over  chan struct{}     // closed when the first container ends; nil while it does not run
	armed map[string]bool   // for this run of the first container
}

func newFaults(annotations map[string]string) faults {
	return faults{asked: maps.Clone(annotations)}
}

// noteFaults takes over the annotations of a pod that has changed.
func (p *podRun) noteFaults(annotations map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.asked = maps.Clone(annotations)
	p.armFaults()
}

// beginFaults is called when the first container begins to run, endFaults when it has ended.
func (p *podRun) beginFaults() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.over, p.faults.armed = make(chan struct{}), map[string]bool{}
	p.armFaults()
}

func (p *podRun) endFaults() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.faults.over)
	p.faults.over = nil
}

// armFaults starts the clocks of the faults that hit a running container, each once.
func (p *podRun) armFaults() {
	over := p.faults.over
	if over == nil {
		return
	}
	for name, hit := range hits {
		after, err := time.ParseDuration(p.faults.asked[faultPrefix+name])
		if err != nil || p.faults.armed[name] {
			continue
		}
		p.faults.armed[name] = true
		go func() {
			select {
			case <-over:
			case <-time.After(after):
				hit(p)
			}
		}()
	}
}

// takes is how long a step of the pod's life is drawn out; 0 unless asked for.
func (p *podRun) takes(fault string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, _ := time.ParseDuration(p.faults.asked[faultPrefix+fault])
	return d
}

func (p *podRun) pullFails() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults.asked[faultPrefix+faultPull] == pullNeverArrives
}

// lingers keeps the pod's object for a while after its processes have ended.
func (p *podRun) lingers() {
	for begin := time.Now(); time.Since(begin) < p.takes(faultStuck) && !p.gone.Load(); {
		time.Sleep(50 * time.Millisecond)
	}
}

// end kills all containers because the pod as a whole is ended by the node.
func (p *podRun) end(reason string) {
	p.mu.Lock()
	p.killed = reason
	p.mu.Unlock()
	p.stopOnce.Do(func() { close(p.stopping) }) // before the kill, or the containers would be started again
	p.kill(reason)
}
