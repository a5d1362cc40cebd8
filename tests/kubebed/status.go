package main

// What a pod's run reports to the API server: the phase and the conditions that follow from its
// containers. A report that does not get through is made again with what is true by then.

import (
	"context"
	"encoding/json"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

const retryReportAfter = 500 * time.Millisecond

// update changes the status under the lock and reports it.
func (p *podRun) update(f func(*v1.PodStatus)) {
	p.mu.Lock()
	f(&p.status)
	p.mu.Unlock()
	p.publish()
}

// publish derives the phase and conditions from the containers and patches the pod's status.
func (p *podRun) publish() {
	p.mu.Lock()
	defer p.mu.Unlock() // held over the patch, so that reports arrive in order
	if p.gone.Load() {
		return
	}
	s := &p.status
	initialized, ready, running, failed := true, true, false, false
	for _, c := range s.InitContainerStatuses {
		initialized = initialized && c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
		running = running || c.State.Running != nil
	}
	over := len(s.ContainerStatuses) > 0
	begun := false
	for _, c := range s.ContainerStatuses {
		ready = ready && c.Ready
		begun = begun || c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil
		final := c.State.Terminated != nil && !p.restarts(c.State.Terminated.ExitCode)
		over = over && final
		failed = failed || final && c.State.Terminated.ExitCode != 0
	}
	switch {
	case ends[s.Reason] != "": // the phase is set
	case over && failed:
		s.Phase = v1.PodFailed
	case over:
		s.Phase = v1.PodSucceeded
	case initialized && begun:
		s.Phase = v1.PodRunning
	case s.Phase == "":
		s.Phase = v1.PodPending
	}
	if running || begun || s.PodIP != "" {
		s.PodIP, s.PodIPs = p.ip, []v1.PodIP{{IP: p.ip}}
	}
	cond := func(t v1.PodConditionType, ok bool, reason string) {
		status := v1.ConditionFalse
		if ok {
			status, reason = v1.ConditionTrue, ""
		}
		for i := range s.Conditions {
			if c := &s.Conditions[i]; c.Type == t {
				if c.Status != status {
					c.Status, c.LastTransitionTime = status, metav1.Now()
				}
				c.Reason = reason
				return
			}
		}
		s.Conditions = append(s.Conditions, v1.PodCondition{Type: t, Status: status, Reason: reason, LastTransitionTime: metav1.Now()})
	}
	cond(v1.PodInitialized, initialized, "ContainersNotInitialized")
	cond(v1.ContainersReady, ready, "ContainersNotReady")
	cond(v1.PodReady, ready, "ContainersNotReady")
	patch, _ := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.pod.UID}, "status": s})
	_, err := p.a.client.CoreV1().Pods(p.pod.Namespace).Patch(context.Background(), p.pod.Name,
		types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !settled(err) {
		klog.Errorf("kubebed: status of pod %s: %v", p.pod.Name, err)
		time.AfterFunc(retryReportAfter, p.publish)
	}
}

// settled says whether an error means that the pod is gone from the API, or another has its name.
func settled(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }

// restarts says whether a container that ended with this code will be started again.
func (p *podRun) restarts(code int32) bool {
	select {
	case <-p.stopping:
		return false
	default:
	}
	return p.pod.Spec.RestartPolicy == v1.RestartPolicyAlways || p.pod.Spec.RestartPolicy == v1.RestartPolicyOnFailure && code != 0
}
