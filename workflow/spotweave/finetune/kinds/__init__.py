"""What each kind of recipe trains: a dataclass with the settings of its row (`finetune.fold.Kind`)."""
