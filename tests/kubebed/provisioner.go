package main

// Storage: a class of its own, the default one, whose volumes are folders of the state folder.

import (
	"context"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	storageClass = "kubebed"
	provisioner  = "kubebed/local"
)

func (a *agent) createStorageClass(ctx context.Context) error {
	_, err := a.client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: storageClass, Annotations: map[string]string{
			"storageclass.kubernetes.io/is-default-class": "true",
		}},
		Provisioner: provisioner,
	}, metav1.CreateOptions{})
	return err
}

// provision answers a claim of our storage class with a volume.
func (a *agent) provision(ctx context.Context, pvc *v1.PersistentVolumeClaim) {
	if pvc.Status.Phase != v1.ClaimPending || pvc.Spec.VolumeName != "" || pvc.Spec.StorageClassName == nil || *pvc.Spec.StorageClassName != storageClass {
		return
	}
	name := "pvc-" + string(pvc.UID)
	path := filepath.Join(a.o.dir, "volumes", name)
	if os.MkdirAll(path, 0o777) != nil || os.Chmod(path, 0o777) != nil {
		return
	}
	a.client.CoreV1().PersistentVolumes().Create(ctx, &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}},
		Spec: v1.PersistentVolumeSpec{
			Capacity: pvc.Spec.Resources.Requests, AccessModes: pvc.Spec.AccessModes, VolumeMode: pvc.Spec.VolumeMode,
			StorageClassName: storageClass, PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource: v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: path}},
			ClaimRef:               &v1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name, UID: pvc.UID},
		},
	}, metav1.CreateOptions{}) // what fails is tried again at the next look; a repeat is refused
}

// reclaim deletes a volume of ours whose claim is gone.
func (a *agent) reclaim(ctx context.Context, pv *v1.PersistentVolume) {
	if pv.Status.Phase == v1.VolumeReleased && pv.Spec.StorageClassName == storageClass && pv.DeletionTimestamp == nil {
		os.RemoveAll(filepath.Join(a.o.dir, "volumes", pv.Name))
		a.client.CoreV1().PersistentVolumes().Delete(ctx, pv.Name, metav1.DeleteOptions{})
	}
}
