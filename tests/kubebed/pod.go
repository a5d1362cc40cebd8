package main

// One pod's life on the node, as a kubelet would report it (status.go): volumes, init containers,
// containers with restarts, readiness, deletion with its grace period. Its troubles are those that
// a test asks for (faults.go).

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
)

type podRun struct {
	a       *agent
	pod     *v1.Pod
	ip, dir string
	events  record.EventRecorder

	stopping chan struct{} // closed when the pod is to end: deletion, eviction
	stopOnce sync.Once
	done     chan struct{} // closed when the run is over
	gone     atomic.Bool   // report nothing more
	deleted  atomic.Bool   // deletion was asked for

	mu     sync.Mutex
	status v1.PodStatus
	procs  map[string]*exec.Cmd
	killed string // why the agent killed the containers: a key of ends, or OOMKilled
	faults faults
}

func newPodRun(a *agent, pod *v1.Pod) *podRun {
	p := &podRun{
		a: a, pod: pod.DeepCopy(), ip: a.newPodIP(), events: a.recorder(pod.Spec.NodeName),
		dir:      filepath.Join(a.o.dir, "pods", pod.Namespace+"_"+pod.Name+"_"+string(pod.UID)),
		stopping: make(chan struct{}), done: make(chan struct{}), procs: map[string]*exec.Cmd{},
		faults: newFaults(pod.Annotations),
	}
	now := metav1.Now()
	p.status.StartTime = &now
	p.status.HostIP, p.status.HostIPs = "127.0.0.1", []v1.HostIP{{IP: "127.0.0.1"}}
	p.status.QOSClass = pod.Status.QOSClass
	waiting := func(cs []v1.Container, reason string) (out []v1.ContainerStatus) {
		for _, c := range cs {
			out = append(out, v1.ContainerStatus{Name: c.Name, Image: c.Image, Started: new(bool),
				State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason}}})
		}
		return out
	}
	first := "ContainerCreating"
	if len(pod.Spec.InitContainers) > 0 {
		first = "PodInitializing"
	}
	p.status.InitContainerStatuses = waiting(pod.Spec.InitContainers, "PodInitializing")
	p.status.ContainerStatuses = waiting(pod.Spec.Containers, first)
	return p
}

func (p *podRun) logPath(container string) string { return filepath.Join(p.dir, container+".log") }

// sleep waits and says whether the pod is still wanted.
func (p *podRun) sleep(d time.Duration) bool {
	select {
	case <-p.stopping:
		return false
	case <-time.After(d):
		return true
	}
}

func (p *podRun) run(ctx context.Context) {
	defer close(p.done)
	os.MkdirAll(p.dir, 0o755)
	p.publish()
	if p.prepareVolumes(ctx) {
		initialized := true
		for i := range p.pod.Spec.InitContainers {
			if !p.container(ctx, &p.pod.Spec.InitContainers[i], &p.status.InitContainerStatuses[i], true) {
				initialized = false
				break
			}
		}
		if initialized {
			var wg sync.WaitGroup
			for i := range p.pod.Spec.Containers {
				wg.Go(func() { p.container(ctx, &p.pod.Spec.Containers[i], &p.status.ContainerStatuses[i], false) })
			}
			wg.Wait()
		} else if p.pod.Spec.RestartPolicy == v1.RestartPolicyNever {
			p.update(func(s *v1.PodStatus) { s.Phase = v1.PodFailed })
		}
	}
	for !p.deleted.Load() && !p.gone.Load() { // ended by itself; the object stays until someone deletes it
		time.Sleep(50 * time.Millisecond)
	}
	if p.gone.Load() {
		return
	}
	p.publish()
	p.lingers()
	zero := int64(0)
	for ctx.Err() == nil && !p.gone.Load() {
		err := p.a.client.CoreV1().Pods(p.pod.Namespace).Delete(ctx, p.pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &p.pod.UID}})
		if err == nil || settled(err) {
			return
		}
		klog.Errorf("kubebed: deleting pod %s: %v", p.pod.Name, err)
		time.Sleep(retryReportAfter)
	}
}

// stop ends the containers because the pod is being deleted.
func (p *podRun) stop(grace time.Duration) {
	p.deleted.Store(true)
	p.stopOnce.Do(func() { close(p.stopping) })
	p.mu.Lock()
	for name, cmd := range p.procs {
		if !p.gone.Load() {
			p.events.Eventf(p.pod, v1.EventTypeNormal, "Killing", "Stopping container %s", name)
		}
		syscall.Kill(cmd.Process.Pid, syscall.SIGTERM)
	}
	p.mu.Unlock()
	time.AfterFunc(grace, func() { p.kill("") })
}

func (p *podRun) kill(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why != "" {
		p.killed = why
	}
	for _, cmd := range p.procs {
		syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)
	}
}

// container runs one container until it is over for good; true means it ended well.
func (p *podRun) container(ctx context.Context, c *v1.Container, st *v1.ContainerStatus, init bool) bool {
	set := func(state v1.ContainerState) {
		p.update(func(*v1.PodStatus) { st.State = state })
	}
	wait := func(reason, format string, args ...any) {
		set(v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: fmt.Sprintf(format, args...)}})
	}
	main := !init && c == &p.pod.Spec.Containers[0]
	backoff := time.Duration(0)
	for {
		if main && !p.pull(c, wait) {
			return false
		}
		if !main {
			p.events.Eventf(p.pod, v1.EventTypeNormal, "Pulled", "Container image %q already present on machine", c.Image)
		}
		// A stub needs no command.
		stub := match(p.a.o.stubs, c.Image)
		var box sandbox
		var err error
		if stub == "" {
			box, err = p.sandbox(ctx, c)
		}
		if err != nil {
			wait("CreateContainerConfigError", "%v", err)
			p.events.Eventf(p.pod, v1.EventTypeWarning, "Failed", "Error: %v", err)
			if !p.sleep(2 * time.Second) {
				return false
			}
			continue
		}
		code, reason, started := 0, "Completed", metav1.Now()
		if stub != "" {
			p.events.Event(p.pod, v1.EventTypeNormal, "Started", "Started container "+c.Name+" (stub)")
			if stub == "serve" {
				if err := p.serve(c); err != nil {
					klog.Errorf("kubebed: stand-in of pod %s: %v", p.pod.Name, err)
					code, reason = startError, "StartError"
				}
			}
			if stub != "exit" && code == 0 {
				p.update(func(*v1.PodStatus) { p.running(st, started); st.Ready = true })
				<-p.stopping
			}
		} else {
			code, reason = p.process(box, c, st, main, started)
		}
		p.update(func(s *v1.PodStatus) {
			if p.killed == "OOMKilled" && main {
				reason, p.killed = "OOMKilled", ""
			}
			ended := v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: int32(code), Reason: reason,
				StartedAt: started, FinishedAt: metav1.Now(), ContainerID: st.ContainerID}}
			st.State, st.Ready, st.Started = ended, init && code == 0, new(bool)
			if message, ok := ends[p.killed]; ok {
				s.Phase, s.Reason, s.Message = v1.PodFailed, p.killed, message
			}
		})
		select {
		case <-p.stopping:
			return code == 0
		default:
		}
		policy := p.pod.Spec.RestartPolicy
		if policy == v1.RestartPolicyNever || code == 0 && (init || policy == v1.RestartPolicyOnFailure) {
			return code == 0
		}
		if backoff > 0 {
			p.update(func(*v1.PodStatus) {
				st.LastTerminationState = st.State
				st.State = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff",
					Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", backoff, c.Name, p.pod.Name)}}
			})
			p.events.Eventf(p.pod, v1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s", c.Name, p.pod.Name)
			if !p.sleep(backoff) {
				return false
			}
		}
		backoff = min(2*backoff+2*time.Second, 30*time.Second)
		p.mu.Lock()
		st.RestartCount++
		if st.State.Terminated != nil {
			st.LastTerminationState = st.State
		}
		p.mu.Unlock()
	}
}

// pull plays the image pull of the first container, with its faults.
func (p *podRun) pull(c *v1.Container, wait func(string, string, ...any)) bool {
	p.events.Eventf(p.pod, v1.EventTypeNormal, "Pulling", "Pulling image %q", c.Image)
	begin := time.Now()
	for p.pullFails() {
		p.events.Eventf(p.pod, v1.EventTypeWarning, "Failed", "Failed to pull image %q: not found", c.Image)
		p.events.Event(p.pod, v1.EventTypeWarning, "Failed", "Error: ErrImagePull")
		wait("ErrImagePull", "failed to pull image %q: not found", c.Image)
		if !p.sleep(time.Second) {
			return false
		}
		p.events.Eventf(p.pod, v1.EventTypeNormal, "BackOff", "Back-off pulling image %q", c.Image)
		p.events.Event(p.pod, v1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
		wait("ImagePullBackOff", "Back-off pulling image %q", c.Image)
		if !p.sleep(5 * time.Second) {
			return false
		}
	}
	if !p.sleep(p.takes(faultPull)) {
		return false
	}
	took := time.Since(begin).Round(time.Millisecond)
	p.events.Eventf(p.pod, v1.EventTypeNormal, "Pulled", "Successfully pulled image %q in %s (%s including waiting). Image size: 1 bytes.", c.Image, took, took)
	return p.sleep(p.takes(faultStartDelay))
}

func (p *podRun) running(st *v1.ContainerStatus, started metav1.Time) {
	yes := true
	st.State = v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: started}}
	st.Started, st.ImageID = &yes, "kubebed://"+st.Image
}

// process runs the container's command once and returns its exit code.
func (p *podRun) process(box sandbox, c *v1.Container, st *v1.ContainerStatus, main bool, started metav1.Time) (int, string) {
	log, err := os.OpenFile(p.logPath(c.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return startError, "StartError"
	}
	defer log.Close()
	var cmd *exec.Cmd
	ready := make(chan struct{})
	p.a.spawn <- func() { cmd, err = box.start(log); close(ready) }
	<-ready
	if err != nil {
		fmt.Fprintln(log, "kubebed:", err)
		return startError, "StartError"
	}
	p.mu.Lock()
	p.procs[c.Name] = cmd
	p.mu.Unlock()
	over := make(chan struct{})
	p.events.Eventf(p.pod, v1.EventTypeNormal, "Created", "Container created")
	p.events.Eventf(p.pod, v1.EventTypeNormal, "Started", "Container started")
	p.update(func(*v1.PodStatus) {
		p.running(st, started)
		st.ContainerID = fmt.Sprintf("kubebed://%d", cmd.Process.Pid)
		st.Ready = c.ReadinessProbe == nil
	})
	select {
	case <-p.stopping: // deletion came while it was starting
		syscall.Kill(cmd.Process.Pid, syscall.SIGTERM)
	default:
	}
	if c.ReadinessProbe != nil {
		go p.probe(c, st, over)
	}
	if main {
		p.beginFaults()
	}
	err = cmd.Wait()
	close(over)
	if main {
		p.endFaults()
	}
	p.mu.Lock()
	delete(p.procs, c.Name)
	p.mu.Unlock()
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ws.Signaled():
		return 128 + int(ws.Signal()), "Error"
	case ws.ExitStatus() == startError:
		return startError, "StartError"
	case ws.ExitStatus() != 0:
		return ws.ExitStatus(), "Error"
	}
	return 0, "Completed"
}

// probe keeps the container's readiness up to date. Exec probes count as passed.
func (p *podRun) probe(c *v1.Container, st *v1.ContainerStatus, over <-chan struct{}) {
	pr := c.ReadinessProbe
	port := func(s intstr.IntOrString) string { return fmt.Sprint(targetPort(p.pod, s)) }
	client := http.Client{Timeout: time.Duration(max(pr.TimeoutSeconds, 1)) * time.Second}
	check := func() bool {
		switch {
		case pr.HTTPGet != nil:
			r, err := client.Get(strings.ToLower(string(pr.HTTPGet.Scheme)) + "://" + net.JoinHostPort(p.ip, port(pr.HTTPGet.Port)) + pr.HTTPGet.Path)
			if err != nil {
				return false
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
			return r.StatusCode < 400
		case pr.TCPSocket != nil:
			conn, err := net.DialTimeout("tcp", net.JoinHostPort(p.ip, port(pr.TCPSocket.Port)), client.Timeout)
			if err == nil {
				conn.Close()
			}
			return err == nil
		}
		return true
	}
	for last := false; ; {
		if ok := check(); ok != last {
			last = ok
			p.update(func(*v1.PodStatus) { st.Ready = ok && st.State.Running != nil })
		}
		select {
		case <-over:
			return
		case <-time.After(min(time.Duration(max(pr.PeriodSeconds, 1))*time.Second, time.Second)):
		}
	}
}
